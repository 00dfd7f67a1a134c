// <local-time> around a <time datetime>
//
// Shows the time by the reader's clock and calendar: of today the hour alone.
export class LocalTime extends HTMLElement {
  connectedCallback() {
    const time = this.querySelector("time");
    const date = new Date(time.dateTime);
    const isToday = date.toDateString() === new Date().toDateString();
    time.textContent = date.toLocaleString(undefined, {
      ...(isToday ? {} : { dateStyle: "medium" }),
      timeStyle: "short",
    });
    time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
  }
}

customElements.define("local-time", LocalTime);
