// What can be asked, as forms: made of openapi.json alone.

import { element } from "./element.js";
import { fieldOf } from "./fields.js";
import { curl, request, target } from "./request.js";
import { show } from "./answer.js";

const FORM = "application/x-www-form-urlencoded";
const MULTIPART = "multipart/form-data";
// Headers of every call, which would only fill the page.
const COMMON = ["X-Timeout", "X-Request-Id", "If-None-Match"];
// So many forms are made at once; of more, each is made when it is opened.
const OPEN_MOST = 20;

const main = document.getElementById("main");
const place = document.querySelector("link[rel=service-desc]").href;

try {
  // The page of operators, on the same address as theirs, has a key for what is not for everybody.
  const key = sessionStorage.getItem("httpipe-key");
  const answer = await fetch(place, { headers: key === null ? {} : { authorization: `Bearer ${key}` } });
  if (!answer.ok) {
    throw new Error(`${answer.status} ${answer.statusText}`);
  }
  start(await answer.json());
} catch (error) {
  main.append(element("p", { role: "alert" }, `openapi.json cannot be read: ${error.message}`));
}

function start(spec) {
  const server = spec.servers[0];
  const root = server.url === "/" ? new URL(document.documentElement.dataset.root, location.href) : new URL(server.url);
  const about = {
    spec,
    root: root.href.replace(/\/$/, ""),
    socket: server["x-socket"],
    isHere: root.origin === location.origin && !server["x-socket"],
  };
  document.title = spec.info.title;
  document.getElementById("title").textContent = spec.info.title;
  document.getElementById("lead").textContent = spec.info.description ?? "";
  const operations = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    const others = Object.entries(item["x-additionalOperations"] ?? {});
    for (const [method, operation] of [...Object.entries(item), ...others]) {
      if (operation.operationId) {
        operations.push({ ...operation, path, method: method.toUpperCase() });
      }
    }
  }
  for (const operation of operations) {
    main.append(sectionOf(operation, about, operations.length <= OPEN_MOST));
  }
  if (operations.length === 0) {
    main.append(element("p", {}, "Nothing can be asked here."));
  }
}

function follow(spec, thing) {
  if (!thing?.$ref) {
    return thing ?? {};
  }
  const keys = thing.$ref.slice(2).split("/");
  return keys.reduce((at, key) => at?.[key], spec) ?? {};
}

function sectionOf(operation, about, isOpen) {
  const { path, method, operationId, summary, description } = operation;
  const heading = element("h2", { id: operationId }, element("b", {}, method), " ", readable(path));
  const section = element("details", { className: "operation", open: isOpen },
    element("summary", {}, heading, summary ? element("span", {}, summary) : null));
  const fill = () => {
    if (section.open && section.childElementCount === 1) {
      section.append(...(description ? [element("p", { className: "text" }, description)] : []));
      section.append(factsOf(operation), ...formOf(operation, about), answersOf(operation, about.spec));
    }
  };
  section.addEventListener("toggle", fill);
  fill();
  return section;
}

function readable(path) {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

function factsOf(operation) {
  const seconds = operation["x-cache-seconds"];
  const facts = [
    operation.tags?.join(", "),
    operation["x-idempotent"] ? "may run twice" : null,
    seconds ? `answers are kept for ${seconds} s` : null,
  ];
  return element("p", { className: "facts" }, facts.filter(Boolean).join(" · "));
}

// The fields of an operation, in the order of the document.
function fieldsOf(operation, spec) {
  const fields = [];
  for (const reference of operation.parameters ?? []) {
    const parameter = follow(spec, reference);
    if (COMMON.includes(parameter.name) || parameter.explode) {
      continue;
    }
    const media = parameter.content?.["application/json"];
    const schema = follow(spec, parameter.schema ?? media?.schema);
    const { name, required, description: hint } = parameter;
    const example = parameter.example ?? media?.example;
    const field = fieldOf({ name, place: parameter.in, schema, required, example, hint, isJson: Boolean(media) });
    fields.push(Object.assign(field, { isRest: parameter["x-rest"] }));
  }
  const content = operation.requestBody?.content ?? {};
  const kinds = Object.keys(content);
  operation.bodyType = [MULTIPART, FORM].find((kind) => content[kind]?.schema.properties) ?? kinds[0];
  if (operation.bodyType === "*/*") {
    operation.bodyType = "text/plain";
  }
  const media = content[operation.bodyType] ?? content[kinds[0]];
  if (media?.schema?.properties && [MULTIPART, FORM].includes(operation.bodyType)) {
    for (const [name, reference] of Object.entries(media.schema.properties)) {
      const schema = { ...follow(spec, reference), ...reference };
      const required = media.schema.required?.includes(name);
      const isFile = Boolean(schema.contentMediaType);
      const isJson = Boolean(media.encoding?.[name]);
      const example = media.example?.[name];
      fields.push(fieldOf({ name, place: "part", schema, required, example, isFile, isJson }));
    }
  } else if (media) {
    const schema = { ...follow(spec, media.schema) };
    const isFile = !/text|json|form/.test(operation.bodyType);
    const { required } = operation.requestBody;
    const isJson = operation.bodyType === "application/json";
    const example = media.example ?? (isJson && schema.properties ? skeletonOf(schema, spec) : undefined);
    const hint = operation.bodyType;
    fields.push(fieldOf({ name: "body", place: "body", schema, required: required || example !== undefined, example, hint, isFile, isJson: true }));
  }
  return fields;
}

// A value to begin with: what must be there, and something of its type.
function skeletonOf(reference, spec, depth = 0) {
  const schema = follow(spec, reference.anyOf?.[0] ?? reference);
  const first = schema.default ?? schema.examples?.[0] ?? schema.enum?.[0] ?? schema.const;
  if (first !== undefined) {
    return first;
  }
  if (schema.properties && depth < 5) {
    const names = schema.required ?? [];
    return Object.fromEntries(names.map((name) => [name, skeletonOf(schema.properties[name] ?? {}, spec, depth + 1)]));
  }
  if (schema.type === "array") {
    return schema.items && depth < 5 ? [skeletonOf(schema.items, spec, depth + 1)] : [];
  }
  return { integer: 1, number: 1.5, boolean: true, string: "hello", object: {} }[schema.type] ?? null;
}

function formOf(operation, about) {
  const fields = fieldsOf(operation, about.spec);
  const line = element("code", {});
  const out = element("div", { className: "answer", hidden: true, "aria-live": "polite" });
  const ask = element("button", { type: "submit" }, about.isHere ? "Ask" : "Copy");
  const form = element("form", {}, ...fields.map((field) => field.row), element("div", { className: "go" }, ask, line));
  const address = () => about.root + target(operation.path, fields);
  const write = () => {
    try {
      line.textContent = curl(operation, fields, address(), about.socket);
    } catch (error) {
      line.textContent = error.message;
    }
  };
  form.addEventListener("input", write);
  write();
  let asked;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!about.isHere) {
      await navigator.clipboard?.writeText(line.textContent);
      return;
    }
    if (asked) {
      asked.abort();
      return;
    }
    asked = new AbortController();
    ask.textContent = "Stop";
    fields.forEach(({ input }) => input.removeAttribute("aria-invalid"));
    const wrong = await show(out, address(), { ...request(operation, fields), signal: asked.signal });
    fields.filter((field) => field.name === wrong).forEach(({ input }) => input.setAttribute("aria-invalid", "true"));
    asked = undefined;
    ask.textContent = "Ask";
  });
  return [form, out];
}

// What can come back, by status.
function answersOf(operation, spec) {
  const rows = Object.entries(operation.responses).map(([status, reference]) => {
    const { description, content } = follow(spec, reference);
    return element("tr", {}, element("th", { scope: "row" }, status),
      element("td", { className: "text" }, description), element("td", {}, Object.keys(content ?? {}).join(", ")));
  });
  return element("details", { className: "answers" }, element("summary", {}, "What can come back"), element("table", {}, ...rows));
}
