// The product's version, read from package.json when the bundle is built.
import { version } from '../package.json';

export const VERSION: string = version;
