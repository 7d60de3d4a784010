// One labelled field for each value of an operation.

import { element } from "./element.js";

let count = 0;

// Returns a field: its element, and what was typed. `undefined` stands for a value that is left out.
export function fieldOf({ name, place, schema, required, example, hint, isFile, isJson }) {
  const id = `field-${(count += 1)}`;
  const isOptional = !required || schema.default !== undefined;
  const input = inputOf(schema, isOptional, isFile, isJson);
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-about`);
  // A text may be empty; of all others nothing is no value.
  const mayBeEmpty = schema.type === "string" && !isFile;
  input.required = !isOptional && !mayBeEmpty;
  if (example !== undefined && !isOptional && !isFile) {
    input.value = typeof example === "string" ? example : JSON.stringify(example);
  }
  const about = element("small", { id: `${id}-about` }, aboutOf(schema, place, isOptional, hint));
  const row = element("div", { className: "field" },
    element("label", { for: id }, element("code", {}, name)), input, about);
  return {
    name,
    place,
    isFile,
    row,
    input,
    value() {
      if (isFile) {
        return input.files[0];
      }
      return input.value === "" && isOptional ? undefined : input.value;
    },
  };
}

function inputOf(schema, isOptional, isFile, isJson) {
  if (isFile) {
    return element("input", { type: "file" });
  }
  const choice = schema.enum ?? (schema.type === "boolean" ? [true, false] : undefined);
  if (choice) {
    const options = choice.map((one) => element("option", {}, String(one)));
    const none = isOptional ? element("option", { value: "" }, defaultOf(schema)) : null;
    return element("select", {}, none, ...options);
  }
  const plain = { autocomplete: "off", spellcheck: false };
  if (isJson || schema.type === "object" || schema.type === "array") {
    return element("textarea", { ...plain, rows: 3, placeholder: defaultOf(schema) });
  }
  const mode = { integer: "numeric", number: "decimal" }[schema.type] ?? "text";
  const input = element("input", { ...plain, inputMode: mode, placeholder: defaultOf(schema) });
  if (schema.type === "integer") {
    input.pattern = "-?[0-9]+";
  } else if (schema.pattern) {
    input.pattern = schema.pattern;
  }
  if (schema.maxLength) {
    input.maxLength = schema.maxLength;
  }
  return input;
}

function defaultOf(schema) {
  const value = schema.default;
  return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

// What may be typed, in words.
function aboutOf(schema, place, isOptional, hint) {
  const { minimum, maximum } = schema;
  let bounds;
  if (minimum !== undefined && maximum !== undefined) {
    bounds = `${minimum} to ${maximum}`;
  } else if (minimum !== undefined) {
    bounds = `at least ${minimum}`;
  } else if (maximum !== undefined) {
    bounds = `at most ${maximum}`;
  }
  const kinds = { string: "text", integer: "whole number", number: "number", boolean: "yes or no" };
  const parts = [
    kinds[schema.type] ?? schema.type ?? "JSON",
    bounds,
    schema.maxLength && schema.maxLength < 4096 ? `at most ${schema.maxLength} characters` : null,
    schema.description,
    hint,
    place === "header" ? "a header" : null,
    isOptional ? "may be left out" : null,
  ];
  return parts.filter(Boolean).join(", ");
}
