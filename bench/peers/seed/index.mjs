// The seed as written: one Python, a result per number kept for ever, looked for every 50 ms.
// Its faults are kept on purpose; they are what is compared with.

import { spawn } from "node:child_process";
import http from "node:http";

const [port, script] = process.argv.slice(2);
const python = spawn("python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
const results = {};

python.stdout.on("data", (message) => {
	const parts = message.toString().split("|");
	results[parts[0]] = parts[1];
});

const server = http.createServer();
server.on("request", (request, response) => {
	const num = new URL(request.url, "http://localhost").searchParams.get("num");
	if (!num) {
		response.end("include a number with /fib?num=x");
		return;
	}
	python.stdin.write(`${num}\n`);
	const interval = setInterval(() => {
		if (!results[num]) return;
		clearInterval(interval);
		response.end(JSON.stringify({ result: results[num].trim() }));
	}, 50);
});
server.listen(Number(port), "127.0.0.1");
