// The document every webview page is loaded in: no content but what the bundled script builds, and a policy that allows
// nothing but that script, its style sheet and font. No VS Code in here.
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
		// These two are not under `default-src`.
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
