// Elements. Text becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children. */
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets an element's text, if it is another. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Brings an element's children in step with items. Those that stay keep their place in the document,
 * and so the focus and what is selected in them, unless their order has changed. */
export function keyed(parent, items, key, create, update) {
  const counts = new Map();
  const names = items.map((item) => {
    // Items may have the same name.
    const same = counts.get(key(item)) ?? 0;
    counts.set(key(item), same + 1);
    return `${same} ${key(item)}`;
  });
  const wanted = new Set(names);
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let next = parent.firstElementChild;
  items.forEach((item, at) => {
    let child = known.get(names[at]);
    if (!child) {
      child = create(item);
      child.dataset.key = names[at];
    }
    update(child, item);
    if (child === next) {
      next = next.nextElementSibling;
    } else {
      parent.insertBefore(child, next);
    }
  });
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus();
}
