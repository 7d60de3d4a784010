// What the fields of an operation become: a request, and the same as a line for a shell.

// Text as one word of a shell.
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// The path and the query. Values are encoded, so nothing of them can be read as anything else.
export function target(path, fields) {
  let way = path;
  const query = [];
  for (const field of fields) {
    const value = field.value();
    if (field.place === "path") {
      const parts = field.isRest ? (value ?? "").split("/") : [value ?? ""];
      way = way.replace(`{${field.name}}`, () => parts.map(encodeURIComponent).join("/"));
    } else if (field.place === "query" && value !== undefined) {
      query.push(`${encodeURIComponent(field.name)}=${encodeURIComponent(value)}`);
    }
  }
  return query.length > 0 ? `${way}?${query.join("&")}` : way;
}

// What `fetch` takes.
export function request(operation, fields) {
  const headers = {};
  for (const field of fields.filter((one) => one.place === "header")) {
    if (field.value()) {
      headers[field.name] = field.value();
    }
  }
  const given = fields.filter((one) => one.place === "part" && one.value() !== undefined);
  const whole = fields.find((one) => one.place === "body");
  let body;
  if (operation.bodyType === "multipart/form-data") {
    body = new FormData();
    given.forEach((field) => body.append(field.name, field.value()));
  } else if (operation.bodyType === "application/x-www-form-urlencoded") {
    body = new URLSearchParams(given.map((field) => [field.name, field.value()]));
  } else if (whole?.value() !== undefined) {
    body = whole.value();
    headers["content-type"] = operation.bodyType;
  }
  return { method: operation.method, headers, body };
}

// The line that sends the same by curl. `--data-raw` takes a leading `@` as it is.
export function curl(operation, fields, address, socket) {
  const words = ["curl"];
  const { headers, body } = request(operation, fields);
  if (operation.method === "HEAD") {
    words.push("-I");
  } else if (operation.method !== (body === undefined ? "GET" : "POST")) {
    words.push("-X", operation.method);
  }
  for (const [name, value] of Object.entries(headers)) {
    words.push("-H", quoted(`${name}: ${value}`));
  }
  if (body instanceof FormData) {
    for (const [name, value] of body) {
      const isFile = value instanceof File;
      const file = isFile ? value.name.replace(/[\\"]/g, "\\$&") : "";
      words.push(isFile ? "-F" : "--form-string", quoted(isFile ? `${name}=@"${file}"` : `${name}=${value}`));
    }
  } else if (body instanceof File) {
    words.push("--data-binary", quoted(`@${body.name}`));
  } else if (body !== undefined) {
    words.push("--data-raw", quoted(String(body)));
  }
  if (socket) {
    words.push("--unix-socket", quoted(socket));
  }
  words.push(quoted(address));
  return words.join(" ");
}
