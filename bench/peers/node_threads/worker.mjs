// One thread with one Python: questions in, answers out, in order.

import { spawn } from "node:child_process";
import { parentPort, workerData } from "node:worker_threads";

const python = spawn("python3", [workerData.script], { stdio: ["pipe", "pipe", "inherit"] });
let rest = "";

python.stdout.setEncoding("utf8");
python.stdout.on("data", (chunk) => {
	const lines = (rest + chunk).split("\n");
	rest = lines.pop();
	const results = lines.map((line) => line.slice(line.indexOf("|") + 1));
	if (results.length > 0) parentPort.postMessage(results);
});
parentPort.on("message", (num) => python.stdin.write(`${num}\n`));
