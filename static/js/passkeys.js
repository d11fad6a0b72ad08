// Passkeys: asks the browser to make or use one, and sends the answer with the form around the button.
const BYTES = ["challenge", "id"];

function toBytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function toText(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// The server's options carry bytes as base64url; the browser wants bytes.
function decoded(value, name = "") {
  if (typeof value === "string") return BYTES.includes(name) ? toBytes(value) : value;
  if (Array.isArray(value)) return value.map((inner) => decoded(inner));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([inner, content]) => [
      inner,
      // The id of the relying party is a name, not bytes.
      name === "rp" ? content : decoded(content, inner),
    ]),
  );
}

function encoded(credential) {
  const { response } = credential;
  const answer = { clientDataJSON: toText(response.clientDataJSON) };
  if (response.attestationObject) {
    answer.attestationObject = toText(response.attestationObject);
    answer.transports = response.getTransports?.() ?? [];
  } else {
    answer.authenticatorData = toText(response.authenticatorData);
    answer.signature = toText(response.signature);
    answer.userHandle = response.userHandle ? toText(response.userHandle) : null;
  }
  return {
    type: credential.type,
    id: credential.id,
    rawId: toText(credential.rawId),
    authenticatorAttachment: credential.authenticatorAttachment ?? null,
    response: answer,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function optionsOf(form) {
  if (form.dataset.passkeyJson) return JSON.parse(document.getElementById(form.dataset.passkeyJson).textContent);
  const response = await fetch(form.dataset.passkeyOptions, { headers: { Accept: "application/json" } });
  if (response.status === 429) throw new Error("Too many attempts. Wait a minute, then try again.");
  if (!response.ok) throw new Error("The server did not answer. Load the page again.");
  return (await response.json()).request_options;
}

async function ask(form) {
  const { publicKey } = decoded(await optionsOf(form));
  if (form.dataset.passkey === "get") return navigator.credentials.get({ publicKey });
  if (form.elements.passwordless?.checked) {
    publicKey.authenticatorSelection = {
      ...publicKey.authenticatorSelection,
      residentKey: "required",
      requireResidentKey: true,
      userVerification: "required",
    };
  }
  return navigator.credentials.create({ publicKey });
}

function sentence(error) {
  const known = {
    NotAllowedError: "Nothing was confirmed: it was cancelled, took too long, or there is no passkey for this address.",
    InvalidStateError: "This device holds a passkey of your account already.",
    SecurityError: "Passkeys do not work on this address. Open the server by its name, over https or as localhost.",
    NotSupportedError: "This device cannot make such a passkey.",
    ConstraintError: "This device cannot check you by fingerprint, face or PIN. Untick the box, or use another device.",
  };
  return known[error.name] ?? error.message;
}

export function init(root) {
  for (const form of root.querySelectorAll("[data-passkey]")) {
    const place = form.querySelector("[data-passkey-error]");
    const button = form.querySelector("[type=submit]");
    if (!window.PublicKeyCredential) {
      if (form.dataset.passkeyOptions) form.hidden = true;
      else {
        place.textContent = "This browser offers no passkeys on this address.";
        place.hidden = false;
        button.disabled = true;
      }
      continue;
    }
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      place.hidden = true;
      button.disabled = true;
      try {
        form.elements.credential.value = JSON.stringify(encoded(await ask(form)));
        form.submit();
      } catch (error) {
        place.textContent = sentence(error);
        place.hidden = false;
        button.disabled = false;
      }
    });
  }
}
