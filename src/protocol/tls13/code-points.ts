/** The numbers of RFC 8446, App. B, and of RFC 9001 § 8.2. */

export const MessageType = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  encryptedExtensions: 8,
  certificate: 11,
  certificateRequest: 13,
  certificateVerify: 15,
  finished: 20,
  messageHash: 254,
} as const;

export const Extension = {
  serverName: 0,
  supportedGroups: 10,
  signatureAlgorithms: 13,
  alpn: 16,
  preSharedKey: 41,
  earlyData: 42,
  supportedVersions: 43,
  cookie: 44,
  pskModes: 45,
  keyShare: 51,
  quicTransportParameters: 0x39,
  padding: 21,
} as const;

export const LEGACY_VERSION = 0x0303;
export const TLS_1_3 = 0x0304;
