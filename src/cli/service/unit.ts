/** A unit of systemd for one tunnel. */

export interface UnitOptions {
  /** `underpass` or `underpass-NAME`. */
  readonly service: string;
  /** For the whole machine, or for one user. */
  readonly scope: "system" | "user";
  readonly command: readonly string[];
  /** Whether the program systemd-notify is there. */
  readonly notifies: boolean;
  /** Whether there is a configuration file, which SIGHUP has read again. */
  readonly reloads: boolean;
  readonly gracePeriodMs: number;
  /** What systemd hands to the service: name and path, of files that root alone can read. */
  readonly credentials: readonly (readonly [name: string, path: string])[];
  /** Under a user of its own, who exists only while it runs. */
  readonly dynamicUser: boolean;
  /** Whether something that it needs lies in somebody's home directory. */
  readonly needsHome: boolean;
}

/** What is left after the grace period: to unregister, and to write the last lines. */
const STOP_MARGIN_S = 15;

export function systemdUnit(options: UnitOptions): string {
  const { command, credentials, gracePeriodMs, notifies, reloads, scope, service } = options;
  return `${[
    "# Written by `underpass service install`; `underpass service uninstall` removes it.",
    "[Unit]",
    "Description=Underpass, Cloudflare Tunnel connector",
    ...(scope === "system" ? ["Wants=network-online.target", "After=network-online.target"] : []),
    // A tunnel that is refused today may be right tomorrow.
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    // systemd-notify is a child of the service.
    ...(notifies ? ["Type=notify", "NotifyAccess=all", "WatchdogSec=60s"] : ["Type=exec"]),
    `ExecStart=${command.map(quote).join(" ")}`,
    ...(reloads ? ["ExecReload=/bin/kill -HUP $MAINPID"] : []),
    "Restart=on-failure",
    "RestartSec=5s",
    "TimeoutStartSec=90s",
    `TimeoutStopSec=${Math.ceil(gracePeriodMs / 1000) + STOP_MARGIN_S}s`,
    "KillMode=mixed",
    `StateDirectory=${service}`,
    "StateDirectoryMode=0700",
    "UMask=0077",
    "NoNewPrivileges=yes",
    ...credentials.map(([name, path]) => `LoadCredential=${name}:${path.replaceAll("%", "%%")}`),
    ...(scope === "system" ? sandbox(options) : []),
    "",
    "[Install]",
    `WantedBy=${scope === "system" ? "multi-user.target" : "default.target"}`,
  ].join("\n")}\n`;
}

/** MemoryDenyWriteExecute is not among them: Node.js compiles while it runs. */
function sandbox({ dynamicUser, needsHome }: UnitOptions): readonly string[] {
  return [
    ...(dynamicUser ? ["DynamicUser=yes"] : []),
    // Without a user of its own it is root, who must still be able to read its files.
    `CapabilityBoundingSet=${dynamicUser ? "" : "CAP_DAC_READ_SEARCH"}`,
    "ProtectSystem=strict",
    `ProtectHome=${needsHome ? "read-only" : "yes"}`,
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    // Netlink tells the machine's addresses.
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
  ];
}

/** systemd.service(5), "Command lines": quotes, then specifiers and variables. */
function quote(argument: string): string {
  const escaped = argument.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[\w@%+=:,./$-]+$/.test(escaped)) return escaped;
  return `"${escaped.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
