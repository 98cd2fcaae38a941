/** The sizes of a model without its weights: by name, or each of them given. */
import type { RandomArchitecture } from '../../native/binding.cjs';
import { invalidArgument } from '../errors.js';
import { checkOptions } from '../options.js';

export type ArchitectureName = 'xlm-r-base' | 'xlm-r-large' | 'xlm-r-xl' | 'xlm-r-xxl';

export interface Architecture {
  layers: number;
  hidden: number;
  /** Divides `hidden`. */
  heads: number;
  feedForward: number;
  /** Rows of the embedding; the last one is `<mask>`. */
  vocabulary: number;
  /** LayerNorm before or after each block. Default `'post'`. */
  norm?: 'pre' | 'post';
  /** Rows of the position table; 2 more than ids per sequence. Default 514. */
  maxPositions?: number;
  /** Classes of the length predictor, 0 for none. Default 512. */
  lengths?: number;
}

const large = { vocabulary: 250002, norm: 'post', maxPositions: 514, lengths: 512 } as const;
const extraLarge = { vocabulary: 250880, norm: 'pre', maxPositions: 514, lengths: 512 } as const;
const architectures: Record<ArchitectureName, Required<Architecture>> = {
  'xlm-r-base': { layers: 12, hidden: 768, heads: 12, feedForward: 3072, ...large },
  'xlm-r-large': { layers: 24, hidden: 1024, heads: 16, feedForward: 4096, ...large },
  'xlm-r-xl': { layers: 36, hidden: 2560, heads: 32, feedForward: 10240, ...extraLarge },
  'xlm-r-xxl': { layers: 48, hidden: 4096, heads: 32, feedForward: 16384, ...extraLarge },
};
const architectureKeys = [
  'layers',
  'hidden',
  'heads',
  'feedForward',
  'vocabulary',
  'norm',
  'maxPositions',
  'lengths',
];

/** @internal What the addon needs to draw weights for an architecture. */
export function randomArchitecture(
  architecture: ArchitectureName | Architecture,
  seed: bigint,
): RandomArchitecture {
  let shape: Architecture | undefined;
  if (typeof architecture === 'string') {
    shape = Object.hasOwn(architectures, architecture) ? architectures[architecture] : undefined;
    if (!shape) {
      const names = Object.keys(architectures).join(', ');
      throw invalidArgument(`there is no architecture '${architecture}'; there are ${names}`);
    }
  } else {
    checkOptions('the architecture of Engine.random()', architecture, architectureKeys);
    shape = architecture;
  }
  return {
    layers: shape.layers,
    hidden: shape.hidden,
    heads: shape.heads,
    feedForward: shape.feedForward,
    vocabulary: shape.vocabulary,
    norm: shape.norm ?? 'post',
    maxPositions: shape.maxPositions ?? 514,
    lengths: shape.lengths ?? 512,
    // The padded vocabulary of XL and XXL has rows that stand for no piece.
    maskTokenId:
      shape.vocabulary === extraLarge.vocabulary ? large.vocabulary - 1 : shape.vocabulary - 1,
    seed,
  };
}
