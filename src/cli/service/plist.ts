/** A property list of launchd for one tunnel. */

export interface PlistOptions {
  readonly label: string;
  readonly command: readonly string[];
  /** Directory of the log. */
  readonly logs: string;
  readonly gracePeriodMs: number;
}

/** launchd starts it at boot, or when the user logs in, and again 5 s after it has failed. */
export function launchdPlist({ command, gracePeriodMs, label, logs }: PlistOptions): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${escape(label)}</string>
  <key>ProgramArguments</key>
  <array>
${command.map((argument) => `    <string>${escape(argument)}</string>`).join("\n")}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ThrottleInterval</key>
  <integer>5</integer>
  <key>ExitTimeOut</key>
  <integer>${Math.ceil(gracePeriodMs / 1000) + 15}</integer>
  <key>StandardOutPath</key>
  <string>${escape(`${logs}/${label}.out.log`)}</string>
  <key>StandardErrorPath</key>
  <string>${escape(`${logs}/${label}.err.log`)}</string>
</dict>
</plist>
`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
