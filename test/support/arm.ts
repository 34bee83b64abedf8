// Arm on machines that are none: Debian's cross compiler and emulator, installed where that is possible (as root).
import { ensureSystem } from '../../scripts/system.mjs';

/** Commands before an Arm program: newest features, and a CPU with dotprod but without i8mm. */
export const emulators = {
	'all features': ['qemu-aarch64-static', '-cpu', 'max'],
	'no i8mm': ['qemu-aarch64-static', '-cpu', 'cortex-a76'],
};

/** Whether Arm programs can be built and run here; says why where not. An Arm machine tests its kernels itself. */
export function armTools(): boolean {
	if (process.platform !== 'linux' || process.arch === 'arm64') return false;
	try {
		ensureSystem(['arm']);
		return true;
	} catch (error) {
		console.warn(`Arm kernels are not tested here: ${(error as Error).message}`);
		return false;
	}
}
