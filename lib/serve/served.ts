/** The model and the limits that every route works with. */
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

/** Parameters of an address that names a model. */
export interface ModelParameters {
  name: string;
  version?: string;
}

/** The only version of the model. */
export const modelVersion = '1';

/** There is one model, in one version. */
export function checkModel({ name, version }: ModelParameters, served: Served): void {
  if (version !== undefined && version !== modelVersion) {
    throw new RequestError(
      404,
      'ERR_NOT_FOUND',
      `there is no version '${version}' of the model here; it has one, '${modelVersion}'`,
    );
  }
  if (name === served.name) return;
  throw new RequestError(
    404,
    'ERR_NOT_FOUND',
    `there is no model '${name}' here; this server has '${served.name}'`,
  );
}
