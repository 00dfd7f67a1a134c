// <pass-key> around a form with a field `credential`, which a passkey fills when the form is sent
//
// What the browser is asked comes from #passkey-options, or from the address in `options`; with `make`, a new passkey
// is made. It is hidden where browsers have none: they want https, or localhost.

const CANCELLED = "That was not finished. Try again when you are ready.";
const MISSING =
  "This browser has no passkeys here. They need https and a name such as chat.example.org, or http://localhost.";

export class PassKey extends HTMLElement {
  connectedCallback() {
    if (!isPossible()) {
      this.#tell(MISSING);
      return;
    }
    this.hidden = false;
    this.addEventListener("submit", (event) => this.#ask(event));
  }

  async #ask(event) {
    const { target: form } = event;
    event.preventDefault();
    this.#tell("");
    try {
      form.elements.credential.value = JSON.stringify(await this.#credential());
      form.submit();
    } catch {
      this.#tell(CANCELLED);
    }
  }

  async #credential() {
    const { publicKey } = await this.#options();
    if (!this.hasAttribute("make")) {
      return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
    }
    // One that the device keeps by itself, so that nobody has to say first who they are.
    const selection = { residentKey: "required", requireResidentKey: true, userVerification: "required" };
    const wanted = { ...publicKey, authenticatorSelection: { ...publicKey.authenticatorSelection, ...selection } };
    return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(wanted) });
  }

  async #options() {
    const address = this.getAttribute("options");
    if (address) {
      const response = await fetch(address, { headers: { Accept: "application/json" } });
      return (await response.json()).request_options;
    }
    const told = JSON.parse(this.querySelector("#passkey-options").textContent);
    return told.creation_options ?? told.request_options;
  }

  #tell(words) {
    this.querySelector("[role=alert]").textContent = words;
  }
}

function isPossible() {
  const isAddress = /^[\d.]+$|^\[/.test(location.hostname); // passkeys belong to names
  return !isAddress && "PublicKeyCredential" in window && "parseCreationOptionsFromJSON" in PublicKeyCredential;
}

customElements.define("pass-key", PassKey);
