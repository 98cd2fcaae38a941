/** The types of mask-predict/operations for CommonJS: those of the ES module, its values named one by one. */
import type * as api from '../../dist/token/operations.js' with { 'resolution-mode': 'import' };
export type * from '../../dist/token/operations.js' with { 'resolution-mode': 'import' };

export declare const embed: typeof api.embed;
export declare const fillMasks: typeof api.fillMasks;
export declare const gatedLinear: typeof api.gatedLinear;
export declare const gatedRows: typeof api.gatedRows;
export declare const gatherRows: typeof api.gatherRows;
export declare const layerNorm: typeof api.layerNorm;
export declare const linear: typeof api.linear;
export declare const linearNorm: typeof api.linearNorm;
export declare const linearPair: typeof api.linearPair;
export declare const lmHeadArgmax: typeof api.lmHeadArgmax;
export declare const logitsAt: typeof api.logitsAt;
export declare const meanRows: typeof api.meanRows;
export declare const mixedAttention: typeof api.mixedAttention;
export declare const packWeight: typeof api.packWeight;
export declare const remask: typeof api.remask;
export declare const rotate: typeof api.rotate;
export declare const sample: typeof api.sample;
