// A button beside a password that shows what was typed.
export function init(root) {
  for (const button of root.querySelectorAll("[data-show-password]")) {
    const input = document.getElementById(button.dataset.showPassword);
    const words = button.firstChild;
    const show = (isShown) => {
      input.type = isShown ? "text" : "password";
      button.setAttribute("aria-pressed", String(isShown));
      words.textContent = isShown ? "Hide" : "Show";
    };
    button.addEventListener("click", () => show(input.type === "password"));
    // Otherwise the browser may remember it as plain text.
    input.form.addEventListener("submit", () => show(false));
  }
}
