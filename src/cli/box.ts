/** Lines in a frame, two blanks of padding, as cloudflared draws it around a quick tunnel's address. */
export function drawBox(lines: readonly string[]): readonly string[] {
  const width = Math.max(...lines.map((line) => line.length));
  const border = `+${"-".repeat(width + 4)}+`;
  return [border, ...lines.map((line) => `|  ${line.padEnd(width)}  |`), border];
}
