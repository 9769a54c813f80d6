/** Where the Hub is and how it is used, from the variables that its own tools read. */
import { hubToken } from "../node-hub.ts";

const HUB = "https://huggingface.co";

function isOn(value: string | undefined): boolean {
  return /^(1|true|yes|on)$/i.test(value ?? "");
}

/** Without a slash at its end. */
export function hubEndpoint(): string {
  return (process.env.HF_ENDPOINT || HUB).replace(/\/+$/, "");
}

export function isHubOffline(): boolean {
  return isOn(process.env.HF_HUB_OFFLINE);
}

/** Whether bytes of Xet-backed files come by plain ranges instead. */
export function isXetDisabled(): boolean {
  return isOn(process.env.HF_HUB_DISABLE_XET);
}

export function hubHeaders(): Record<string, string> {
  const token = hubToken();
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
