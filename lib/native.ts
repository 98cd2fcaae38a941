/** The native addon, loaded once and told which class its errors are made of. */
import binding from '../native/binding.cjs';
import { MaskPredictError } from './errors.js';

binding.initialize(MaskPredictError as never);

export const native = binding;
