// The document that every webview page is loaded in. It has no content but what the bundled script builds, and its
// policy allows nothing but that script, its style sheet and its font. This file does not use VS Code.
import { randomBytes } from 'node:crypto';

interface PageOptions {
	title: string;
	/** `webview.cspSource` */
	cspSource: string;
	scriptUri: string;
	styleUri: string;
	nonce: string;
}

export function createNonce(): string {
	return randomBytes(16).toString('base64url');
}

export function webviewPage(options: PageOptions): string {
	const policy = [
		"default-src 'none'",
		`style-src ${options.cspSource}`,
		`script-src 'nonce-${options.nonce}'`,
		`font-src ${options.cspSource}`,
		`img-src ${options.cspSource} data:`,
		// `default-src` does not cover these two.
		"base-uri 'none'",
		"form-action 'none'",
	].join('; ');
	return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeAttribute(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${escapeAttribute(options.styleUri)}">
<title>${escapeAttribute(options.title)}</title>
</head>
<body>
<script nonce="${options.nonce}" src="${escapeAttribute(options.scriptUri)}"></script>
</body>
</html>`;
}

function escapeAttribute(value: string): string {
	return value.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
