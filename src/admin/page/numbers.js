// Numbers for people: two or three digits, and a thin space before the unit.

const THIN = "\u2009";
const NONE = "–";
const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];

function digits(value) {
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 1 ? 1 : 2);
}

/** 0.4, 7, 1.2k, 18.3k, 1.4M. */
export function count(value) {
  if (value < 9.95 && !Number.isInteger(value)) return value.toFixed(1);
  if (value < 999.5) return String(Math.round(value));
  if (value < 999_500) return `${digits(value / 1e3)}k`;
  return `${digits(value / 1e6)}M`;
}

/** 512 B, 41.3 MiB. */
export function bytes(value) {
  if (value == null) return NONE;
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const text = unit > 0 && value < 100 ? value.toFixed(1) : value.toFixed(0);
  return text + THIN + units[unit];
}

/** 40 µs, 1.9 ms, 30.0 s, 5m 3s. */
export function time(seconds) {
  if (seconds == null) return NONE;
  if (seconds < 1e-6) return "0";
  if (seconds < 999.5e-6) return `${(seconds * 1e6).toFixed(0)}${THIN}µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1e3)}${THIN}ms`;
  if (seconds < 100) return `${seconds.toFixed(1)}${THIN}s`;
  return span(seconds);
}

/** 40 µs, 2 ms, 25 ms, where there is little room. */
export function timeInShort(seconds) {
  const [number, unit] = time(seconds).split(THIN);
  const isLong = unit && (number >= 10 || number.endsWith(".0"));
  return isLong ? `${Math.round(number)}${THIN}${unit}` : time(seconds);
}

/** 12 s, 5m 3s, 3d 4h: the two largest units. */
export function span(seconds) {
  const inTwo = (unit, name, lesser, lesserName) => {
    const most = Math.floor(seconds / unit);
    const rest = Math.floor((seconds % unit) / lesser);
    return rest ? `${most}${name}${THIN}${rest}${lesserName}` : `${most}${name}`;
  };
  if (seconds < MINUTE) return `${Math.floor(seconds)}${THIN}s`;
  if (seconds < HOUR) return inTwo(MINUTE, "m", 1, "s");
  if (seconds < DAY) return inTwo(HOUR, "h", MINUTE, "m");
  return inTwo(DAY, "d", HOUR, "h");
}

/** 12 s ago, 6m ago. */
export function ago(seconds) {
  return `${seconds < MINUTE ? span(seconds) : span(seconds).split(THIN)[0]} ago`;
}

/** 0, <0.1 %, 0.4 %, 31 %. */
export function percent(part) {
  if (part == null) return NONE;
  if (part === 0) return "0";
  if (part < 0.0005) return `<0.1${THIN}%`;
  return `${(part * 100).toFixed(part < 0.0995 ? 1 : 0)}${THIN}%`;
}

