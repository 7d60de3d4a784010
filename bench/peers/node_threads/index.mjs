// The seed's idea carried through: Node in front, worker threads, a Python in each. Each
// question waits in the queue of one thread, and answers come back in order.

import http from "node:http";
import { Worker } from "node:worker_threads";

const [port, threads, script] = process.argv.slice(2);
const workers = [];

for (let i = 0; i < Number(threads); i++) {
	const worker = new Worker(new URL("./worker.mjs", import.meta.url), { workerData: { script } });
	const entry = { worker, waiting: [] };
	worker.on("message", (results) => {
		for (const result of results) {
			const body = JSON.stringify({ result });
			const response = entry.waiting.shift();
			response.writeHead(200, {
				"Content-Type": "application/json",
				"Content-Length": Buffer.byteLength(body),
			});
			response.end(body);
		}
	});
	workers.push(entry);
}

const server = http.createServer((request, response) => {
	const num = new URL(request.url, "http://localhost").searchParams.get("num");
	if (num === null || !/^[0-9]+$/.test(num)) {
		response.writeHead(400).end("include a number with /fib?num=x");
		return;
	}
	const least = workers.reduce((a, b) => (b.waiting.length < a.waiting.length ? b : a));
	least.waiting.push(response);
	least.worker.postMessage(num);
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), "127.0.0.1");
