// What the server has told: its last status, as in `src/report`, and ten minutes of history.

/** How many seconds the plots show. */
export const SPAN = 600;
const RATE_SPAN = 10;
export const STATES = ["busy", "ready", "starting", "leaving"];

const VERDICTS = {
  holds_output: "holds its output back?",
  half_answer: "half an answer",
  not_reading: "does not read",
};

export class Model {
  status = null;

  get pools() {
    return this.status?.pools ?? [];
  }

  /** Takes a `hello`, which has all. */
  hello(status) {
    for (const pool of status.pools) pool.history = whole(pool);
    this.status = status;
  }

  /** Takes a `tick`, without the past. Returns false if it has a pool that is new. */
  tick(status) {
    const before = new Map(this.pools.map((pool) => [pool.name, pool]));
    if (!status.pools.every(({ name }) => before.has(name))) return false;
    for (const pool of status.pools) {
      const { about, history } = before.get(pool.name);
      append(history, pool);
      Object.assign(pool, { about, history });
    }
    this.status = status;
    return true;
  }
}

const namesOf = ({ sample: { at, ...numbers } }) => Object.keys(numbers);

/** Fills the columns of a pool that is younger than the span. */
function whole(pool) {
  const { history = { end: pool.sample.at } } = pool;
  for (const name of namesOf(pool)) {
    history[name] = [...Array(SPAN).fill(0), ...(history[name] ?? [])].slice(-SPAN);
  }
  return history;
}

function append(history, pool) {
  const { sample } = pool;
  // Seconds that were missed are empty.
  const passed = Math.min(sample.at - history.end, SPAN);
  if (passed <= 0) return;
  for (const name of namesOf(pool)) {
    history[name].splice(0, passed);
    history[name].push(...Array(passed - 1).fill(0), sample[name]);
  }
  history.end = sample.at;
}

export function callRate({ history }) {
  return history.calls.slice(-RATE_SPAN).reduce((sum, calls) => sum + calls) / RATE_SPAN;
}

export function failedPart({ recent: { failed, calls } }) {
  return calls ? failed / calls : 0;
}

/** Returns which part of the requests the cache has answered; null if it has no part in it. */
export function hitRate({ recent: { hits, calls } }) {
  return hits === null || hits + calls === 0 ? null : hits / (hits + calls);
}

/** Returns how long a call of this pool may take before it stands out, in seconds. */
export function slowAfter({ recent }) {
  return Math.max(10 * (recent.work_seconds?.p99 ?? 0), 1);
}

/** Returns true if the doctor says that a worker needs a look. */
export function isIll({ verdict }) {
  return verdict !== null && verdict !== "works";
}

export function verdictWords({ verdict }) {
  return VERDICTS[verdict] ?? verdict;
}

/** Returns how the server is, as `{ level, text }`; agrees with what `/ready` says. */
export function health({ draining, pools, notices }) {
  if (draining) return { level: "bad", text: "stopping" };
  const without = pools.filter(({ states, away }) =>
    states.ready + states.busy + (away?.slots ?? 0) === 0);
  if (without.length) {
    const few = without.slice(0, 3).map(({ name }) => name).join(", ");
    return { level: "bad", text: `not ready: ${few}${without.length > 3 ? ", …" : ""}` };
  }
  const serious = notices.filter(({ level }) => level !== "info").length;
  if (serious) return { level: "warn", text: `serving, ${serious} to look at` };
  return { level: "good", text: "serving" };
}
