// Clients of the Model Context Protocol, made with its SDK, for the tests beside this file.
//
//     node mcp_client.mjs NODE_MODULES URL SCENARIO
//
// Writes one line of JSON: what the clients saw.

import { pathToFileURL } from "node:url";

const [modules, url, scenario] = process.argv.slice(2);
const sdk = (file) => import(pathToFileURL(`${modules}/@modelcontextprotocol/sdk/dist/esm/${file}`));
const { Client } = await sdk("client/index.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");
const types = await sdk("types.js");

async function connected(capabilities = {}) {
  const client = new Client({ name: "test", version: "1" }, { capabilities });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
}

const textOf = (result) => result.content[0].text;

// Both clients count their requests from 0, and use the same numbers as progress tokens.
async function cancel() {
  const clients = await Promise.all([connected(), connected()]);
  const leaves = new AbortController();
  const runs = clients.map(async (client, index) => {
    const progress = [];
    const call = { name: "trigger-long-running-operation", arguments: { duration: 1.5, steps: 5 } };
    const options = {
      signal: index === 0 ? leaves.signal : undefined,
      onprogress: (told) => {
        progress.push(told.progress);
        if (index === 0) leaves.abort("enough");
      },
    };
    const result = await client.callTool(call, undefined, options).then(textOf, (error) => `failed: ${error}`);
    const sum = await client.callTool({ name: "get-sum", arguments: { a: index, b: 1 } });
    return { progress, result, sum: textOf(sum) };
  });
  return Promise.all(runs);
}

async function session() {
  const client = await connected();
  const done = [];
  const step = async (name, call) => done.push([name, await call.then(() => "ok", String)]);
  await step("ping", client.ping());
  await step("tools", client.listTools());
  await step("echo", client.callTool({ name: "echo", arguments: { message: "hello" } }));
  await step("sum", client.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } }));
  await step("structured", client.callTool({ name: "get-structured-content", arguments: { location: "New York" } }));
  await step("image", client.callTool({ name: "get-tiny-image", arguments: {} }));
  await step("prompts", client.listPrompts());
  await step("prompt", client.getPrompt({ name: "simple-prompt" }));
  await step("resources", client.listResources());
  await step("templates", client.listResourceTemplates());
  return { session: client.transport.sessionId, server: client.getServerVersion().name, done };
}

// The server asks its client in the middle of a call.
async function asked() {
  const client = await connected({ sampling: {}, elicitation: {}, roots: {} });
  const questions = [];
  client.setRequestHandler(types.CreateMessageRequestSchema, async (request) => {
    questions.push(request.method);
    return { model: "none", role: "assistant", content: { type: "text", text: "sampled words" } };
  });
  client.setRequestHandler(types.ElicitRequestSchema, async (request) => {
    questions.push(request.method);
    return { action: "decline" };
  });
  const sampled = await client.callTool({ name: "trigger-sampling-request", arguments: { prompt: "x" } });
  const elicited = await client.callTool({ name: "trigger-elicitation-request", arguments: {} });
  return { questions, sampled: textOf(sampled), elicited: textOf(elicited) };
}

const scenarios = { cancel, session, asked };
console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
