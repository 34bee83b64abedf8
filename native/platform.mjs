/** The name of this machine's platform as VS Code and our packages have it: `linux-x64`, `alpine-arm64`… */
export function platformName() {
	return `${isAlpine() ? 'alpine' : process.platform}-${process.arch}`;
}

/** Node calls Alpine `linux`, too. The two differ in the C library: only a Node of Alpine finds no glibc. */
function isAlpine() {
	if (process.platform !== 'linux') return false;
	const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
	return header.glibcVersionRuntime === undefined;
}
