export type Environment = Readonly<Record<string, string | undefined>>;

export type Interpolation =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly found: string; readonly expected: string; readonly variable?: string };

/** Replaces each `${NAME}` by the environment variable of that name. An unset or empty one is an error. */
export function interpolate(text: string, env: Environment): Interpolation {
  let failure: Interpolation | undefined;
  const value = text.replace(/\$\{([^}]*)\}?/g, (whole, name: string) => {
    if (!whole.endsWith("}") || !/^[A-Za-z_]\w*$/.test(name)) {
      failure ??= { ok: false, found: "a ${ that names no variable", expected: "${NAME}" };
      return "";
    }
    const found = env[name];
    if (found === undefined || found === "") {
      const state = found === undefined ? "is not set" : "is empty";
      failure ??= {
        ok: false,
        found: `\${${name}}, and the environment variable ${name} ${state}`,
        expected: `a value for ${name} (export ${name}=…), or the value itself in the file,`,
        variable: name,
      };
      return "";
    }
    return found;
  });
  return failure ?? { ok: true, value };
}
