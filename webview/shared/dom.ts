// Builds elements. Text becomes text nodes, so nothing given here can become markup.

type Child = Node | string | undefined | false;

/**
 * Makes an element with children and attributes. `true` sets an attribute without a value; `undefined` and `false`
 * leave it out.
 */
export function element<Tag extends keyof HTMLElementTagNameMap>(
	tag: Tag,
	attributes: Record<string, string | number | boolean | undefined> = {},
	...children: Child[]
): HTMLElementTagNameMap[Tag] {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (value === undefined || value === false) continue;
		node.setAttribute(name, value === true ? '' : String(value));
	}
	node.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
	return node;
}

/** An icon of VS Code's own font. It is decoration only, so screen readers pass over it. */
export function icon(name: string): HTMLElement {
	return element('span', { class: `codicon codicon-${name}`, 'aria-hidden': 'true' });
}

/** A button with an icon. Its label is the tooltip, and screen readers read it. */
export function iconButton(name: string, label: string, onClick: () => void, attributes = {}): HTMLButtonElement {
	const button = element(
		'button',
		{ type: 'button', class: 'icon-button', title: label, 'aria-label': label, ...attributes },
		icon(name),
	);
	button.addEventListener('click', onClick);
	return button;
}

export function textButton(label: string, onClick: () => void, attributes = {}): HTMLButtonElement {
	const button = element('button', { type: 'button', class: 'text-button', ...attributes }, label);
	button.addEventListener('click', onClick);
	return button;
}

/** Shows for a moment that the button's action was done. */
export function confirmOn(button: HTMLButtonElement): void {
	const symbol = button.querySelector('.codicon');
	if (!symbol || button.hasAttribute('data-done')) return;
	const before = symbol.className;
	symbol.className = 'codicon codicon-check';
	button.toggleAttribute('data-done', true);
	setTimeout(() => {
		symbol.className = before;
		button.toggleAttribute('data-done', false);
	}, 1500);
}
