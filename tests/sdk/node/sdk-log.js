// The SDK writes every refusal and every repetition to the console. Here its lines are kept, so that tests can look at
// them and the output stays readable; all other output passes.
const PREFIX = "[Upstash QStash]";

export const sdkLog = [];

for (const level of ["warn", "error"]) {
  const write = console[level];
  console[level] = (...values) => {
    if (String(values[0]).startsWith(PREFIX)) {
      sdkLog.push(values.join(" "));
    } else {
      write(...values);
    }
  };
}
