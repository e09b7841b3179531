/**
 * What makes two readers of one connection disagree about where a response ends (RFC 9112 §§ 2.2, 5, 6.3, 7.1, 11.1, 11.2).
 * All of it is refused, wherever the bytes are cut.
 */
import { describe, expect, it } from "vitest";
import { collect, everyCut } from "./collect.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

const REFUSED: readonly (readonly [name: string, bytes: string, method?: string])[] = [
  ["Content-Length and Transfer-Encoding", `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["Transfer-Encoding and Content-Length", `${OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
  ["two different lengths", `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`],
  ["a list of lengths", `${OK}Content-Length: 5, 5\r\n\r\nhello`],
  ["a signed length", `${OK}Content-Length: +5\r\n\r\nhello`],
  ["a negative length", `${OK}Content-Length: -5\r\n\r\nhello`],
  ["a hexadecimal length", `${OK}Content-Length: 0x5\r\n\r\nhello`],
  ["a length with a fraction", `${OK}Content-Length: 5.0\r\n\r\nhello`],
  ["an empty length", `${OK}Content-Length:\r\n\r\n`],
  ["a length beyond exact numbers", `${OK}Content-Length: 9007199254740993\r\n\r\n`],
  ["a length of 30 digits", `${OK}Content-Length: ${"9".repeat(30)}\r\n\r\n`],
  ["another coding", `${OK}Transfer-Encoding: gzip\r\n\r\n`],
  ["gzip before chunked", `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n`],
  ["chunked twice", `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["identity", `${OK}Transfer-Encoding: identity\r\n\r\n`],
  ["an unknown coding like chunked", `${OK}Transfer-Encoding: xchunked\r\n\r\n`],
  ["chunked behind a vertical tab", `${OK}Transfer-Encoding: \x0bchunked\r\n\r\n`],
  ["Transfer-Encoding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["a space before the colon", `${OK}Content-Length : 5\r\n\r\nhello`],
  ["a tab before the colon", `${OK}Content-Length\t: 5\r\n\r\nhello`],
  ["a folded line", `${OK}X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n`],
  ["a folded line with a tab", `${OK}X-A: b\r\n\tc\r\nContent-Length: 0\r\n\r\n`],
  ["a space before the first line", `${OK} X-A: b\r\nContent-Length: 0\r\n\r\n`],
  ["a line without a colon", `${OK}X-A\r\nContent-Length: 0\r\n\r\n`],
  ["an empty name", `${OK}: b\r\nContent-Length: 0\r\n\r\n`],
  ["a name with a space", `${OK}X A: b\r\nContent-Length: 0\r\n\r\n`],
  ["a name with a NUL", `${OK}X\0A: b\r\nContent-Length: 0\r\n\r\n`],
  ["a name with bytes above 127", `${OK}X-\u00e9: b\r\nContent-Length: 0\r\n\r\n`],
  ["a NUL in a value", `${OK}X-A: b\0c\r\nContent-Length: 0\r\n\r\n`],
  ["a bare CR in a value", `${OK}X-A: b\rc\r\nContent-Length: 0\r\n\r\n`],
  ["a CR before CRLF", `${OK}X-A: b\r\r\nContent-Length: 0\r\n\r\n`],
  ["a bare LF in a value", `${OK}X-A: b\nX-C: d\r\nContent-Length: 0\r\n\r\n`],
  ["lines that end with LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
  ["an empty line of LF alone", `${OK}Content-Length: 0\r\n\n`],
  ["an LF behind the status line", "HTTP/1.1 200 OK\nX-A: b\r\n\r\n"],
  ["a NUL in the status line", "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"],
  ["an empty line first", `\r\n${OK}Content-Length: 0\r\n\r\n`],
  ["a lower-case version", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["HTTP/1.10", "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a tab before the status", "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status with a sign", "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n"],
  ["no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"],
  ["a status glued to its reason", "HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n"],
  ["101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
  ["a tunnel", "HTTP/1.1 200 OK\r\n\r\n", "CONNECT"],
  ["an answer in TLS", "\x15\x03\x01\x00\x02\x02\x46"],
  ["an answer in SSH", "SSH-2.0-OpenSSH_9.6\r\n"],
  ["an answer in no protocol", "hello\r\n"],
  ["a chunk size without digits", `${CHUNKED}\r\nabc\r\n`],
  ["a chunk size with 0x", `${CHUNKED}0x3\r\nabc\r\n0\r\n\r\n`],
  ["a negative chunk size", `${CHUNKED}-3\r\nabc\r\n0\r\n\r\n`],
  ["a signed chunk size", `${CHUNKED}+3\r\nabc\r\n0\r\n\r\n`],
  ["a chunk size with an underscore", `${CHUNKED}1_0\r\nabc\r\n0\r\n\r\n`],
  ["a space before a chunk size", `${CHUNKED} 3\r\nabc\r\n0\r\n\r\n`],
  ["a chunk size in two words", `${CHUNKED}3 3\r\nabc\r\n0\r\n\r\n`],
  ["a chunk size of 17 digits", `${CHUNKED}00000000000000003\r\nabc\r\n0\r\n\r\n`],
  ["a chunk size beyond exact numbers", `${CHUNKED}20000000000000\r\nabc`],
  ["a chunk size line that ends with LF", `${CHUNKED}3\nabc\r\n0\r\n\r\n`],
  ["a chunk size line that ends with CR", `${CHUNKED}3\rabc\r\n0\r\n\r\n`],
  ["an LF in a chunk extension", `${CHUNKED}3;a\nb\r\nabc\r\n0\r\n\r\n`],
  ["a NUL in a chunk extension", `${CHUNKED}3;a\0b\r\nabc\r\n0\r\n\r\n`],
  ["a chunk longer than its size", `${CHUNKED}3\r\nabcd\r\n0\r\n\r\n`],
  ["a chunk shorter than its size", `${CHUNKED}5\r\nabc\r\n0\r\n\r\n`],
  ["a chunk that ends with LF", `${CHUNKED}3\r\nabc\n0\r\n\r\n`],
  ["a last chunk that ends with CR", `${CHUNKED}0\r\n\rX`],
  ["a bare LF in trailers", `${CHUNKED}0\r\nX-A: b\nX-C: d\r\n\r\n`],
  ["a folded trailer", `${CHUNKED}0\r\nX-A: b\r\n c\r\n\r\n`],
  ["a space before the colon of a trailer", `${CHUNKED}0\r\nX-A : b\r\n\r\n`],
  ["a NUL in a trailer", `${CHUNKED}0\r\nX-A: b\0\r\n\r\n`],
];

describe("a response that readers could take differently", () => {
  for (const [name, bytes, method] of REFUSED) {
    it(`is refused: ${name}`, () => {
      const options = method === undefined ? {} : { method };
      const buffer = Buffer.from(bytes, "latin1");
      for (const cuts of [[], ...everyCut(buffer)]) {
        const result = collect(buffer, { ...options, cuts });
        expect(result.error, `cut at ${cuts.join()}`).toBe("ERR_UNDERPASS_HTTP1_MALFORMED");
        expect(result.complete).toBe(false);
        expect(result.reusable).toBe(false);
      }
    });
  }

  it("is refused without repeating what it held", () => {
    for (const [, bytes, method] of REFUSED) {
      const secret = bytes.replace("X-A: b", "X-A: bdO3Fq8Z");
      const { message } = collect(secret, method === undefined ? {} : { method });
      expect(message).toMatch(/origin/);
      expect(message).not.toContain("dO3Fq8Z");
    }
  });
});
