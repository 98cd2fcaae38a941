/** The native addon, loaded once and told which class its errors are made of. */
import { createRequire } from 'node:module';
import type binding from '../../native/binding.cjs';
import { MaskPredictError } from '../errors.js';

// Not an import: Node.js 20 lets nobody catch what a CommonJS module throws while it is imported. Under this name bundlers
// follow the call to the binary.
const require = createRequire(import.meta.url);
export const native = load();

function load(): typeof binding {
  try {
    return require('../../native/binding.cjs') as typeof binding;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw cause;
    throw new MaskPredictError(
      'ERR_DEVICE',
      'mask-predict is in a bundle without the files that lie beside its code (addon, models, page). Leave it out of the ' +
        "bundle: esbuild --external:mask-predict, webpack externals: { 'mask-predict': 'module mask-predict' }, Next.js " +
        "serverExternalPackages: ['mask-predict']",
      { cause },
    );
  }
}

native.initialize(MaskPredictError as never);
