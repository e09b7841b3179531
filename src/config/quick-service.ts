/** Where quick tunnels are asked for. */
import { type ConfigProblem, wrongValue } from "./problem.ts";

/** Ports that `fetch` connects to for nobody (Fetch standard, "bad port"): asking again would never help. */
const BLOCKED_PORTS: ReadonlySet<number> = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/** The service's base URL without a slash at its end, or what is wrong with it. */
export function parseQuickService(text: string, where: string): string | ConfigProblem {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    return wrongValue(where, text, 'an http or https URL such as "https://api.trycloudflare.com"');
  }
  const { hash, password, port, search, username } = new URL(text);
  if (username !== "" || password !== "") {
    return { where, text: "found a URL with a user name or a password; one without would be right" };
  }
  if (search !== "" || hash !== "") return wrongValue(where, text, "a URL that ends with its path");
  if (BLOCKED_PORTS.has(Number(port))) {
    return { where, text: `found port ${port}, which HTTP clients refuse to connect to; another port would be right` };
  }
  return text.replace(/\/+$/, "");
}
