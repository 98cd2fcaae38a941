/** What every route works with. */
import type { MaskPredict } from '../text/mask-predict.js';
import { RequestError } from './errors.js';
import type { Limits } from './limits.js';
import type { Requests } from './requests.js';

export interface Served {
  model: MaskPredict;
  /** Under which the Open Inference Protocol knows the model. */
  name: string;
  limits: Limits;
  requests: Requests;
}

/** Of an address that names a model. */
export interface ModelParameters {
  name: string;
}

/** There is one model, without versions. */
export function checkModel({ name }: ModelParameters, served: Served): void {
  if (name === served.name) return;
  throw new RequestError(
    404,
    'ERR_NOT_FOUND',
    `there is no model '${name}' here; this server has '${served.name}'`,
  );
}
