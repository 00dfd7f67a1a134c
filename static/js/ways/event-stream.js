// News as the events of one long response: the way where WebSockets do not get through.

import { End } from "./end.js";
import { Requests } from "./requests.js";

const TYPE = "text/event-stream";

export class EventStream extends Requests {
  static rhythm = 10_000; // milliseconds between the server's heartbeats

  accept = TYPE;

  async read(response, signal) {
    if (!response.headers.get("Content-Type")?.startsWith(TYPE)) {
      return End.BROKEN; // somebody between here and the server
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        if (!signal.aborted) {
          this.tell(JSON.parse(event.slice("data: ".length)));
        }
      }
    }
    return End.MOVED; // the server ends each stream after some minutes
  }
}
