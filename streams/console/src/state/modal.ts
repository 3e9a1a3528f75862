/** Opens a dialog modally: the browser keeps the focus inside. It begins at the first field, and goes back at the end. */
export function modal(node: HTMLDialogElement) {
  const before = document.activeElement;
  node.showModal();
  node.querySelector<HTMLElement>(':is(input, textarea, select)')?.focus();
  return () => {
    node.close();
    if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
  };
}
