// Ollama keeps a model's GGUF as a blob without a name. A manifest in the folders of its registry names it.
// Format: https://github.com/ollama/ollama (server/manifest.go): manifests/HOST/NAMESPACE/MODEL/TAG →
// blobs/sha256-DIGEST.
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

interface OllamaModel {
	/** The name that `ollama run` takes: gpt-oss:20b, user/model:tag. */
	name: string;
	file: string;
}

/** The largest manifest that is read. Manifests are JSON of some 1 KB. */
const MOST_MANIFEST_BYTES = 2 ** 20;
const MODEL_LAYER = 'application/vnd.ollama.image.model';
/** Names in a manifest's path: HOST/NAMESPACE/MODEL/TAG. */
const MANIFEST_DEPTH = 4;

/** The models in Ollama's folder, at most `mostModels`. None where the folder is not there. */
export async function ollamaModels(folder: string, mostModels: number): Promise<OllamaModel[]> {
	const models: OllamaModel[] = [];
	const walk = async (below: string[]): Promise<void> => {
		const at = path.join(folder, 'manifests', ...below);
		const entries = await readdir(at, { withFileTypes: true }).catch(() => []);
		for (const entry of entries) {
			if (models.length >= mostModels) return;
			const name = [...below, entry.name];
			if (entry.isDirectory() && name.length < MANIFEST_DEPTH) await walk(name);
			if (!entry.isFile() || name.length !== MANIFEST_DEPTH) continue;
			const digest = await modelDigest(path.join(at, entry.name));
			if (digest) models.push({ name: shortName(name), file: path.join(folder, 'blobs', `sha256-${digest}`) });
		}
	};
	await walk([]);
	return models;
}

/** The SHA-256 of a manifest's model layer. Undefined where the file is no manifest or has no such layer. */
async function modelDigest(file: string): Promise<string | undefined> {
	try {
		if ((await stat(file)).size > MOST_MANIFEST_BYTES) return undefined;
		const manifest: unknown = JSON.parse(await readFile(file, 'utf8'));
		const { layers } = manifest as { layers?: unknown };
		if (!Array.isArray(layers)) return undefined;
		const layer = layers.find(({ mediaType }) => mediaType === MODEL_LAYER);
		return /^sha256:([0-9a-f]{64})$/.exec(String(layer?.digest))?.[1];
	} catch {
		return undefined;
	}
}

/** Ollama leaves its own registry and the namespace `library` out of names. */
function shortName([host, namespace, model, tag]: string[]): string {
	const own = host === 'registry.ollama.ai';
	return `${own ? '' : `${host}/`}${own && namespace === 'library' ? '' : `${namespace}/`}${model}:${tag}`;
}
