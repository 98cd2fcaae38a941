/**
 * Writes SentencePiece model files, wrong ones too: a protobuf writer, and a model of six pieces.
 */
export type Value = number | string | Buffer;

export function message(...fields: [number: number, value: Value][]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [varint(number * 8), varint(value)];
      const bytes = Buffer.from(value as string);
      return [varint(number * 8 + 2), varint(bytes.length), bytes];
    }),
  );
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

export function piece(text: string | Buffer, type = 1, score = -1): Buffer {
  const number = Buffer.alloc(5);
  number[0] = 2 * 8 + 5;
  number.writeFloatLE(score, 1);
  return Buffer.concat([message([1, text]), number, message([3, type])]);
}

export const specialPieces = [piece('<unk>', 2, 0), piece('<s>', 3, 0), piece('</s>', 3, 0)];
export const ordinaryPieces = [piece('▁'), piece('a', 1, -2), piece('▁b', 1, -3)];

export interface Parts {
  pieces?: Buffer[];
  trainer?: [number, Value][];
  normaliser?: [number, Value][] | null;
}

export function composed({
  pieces,
  trainer = [],
  normaliser = [[1, 'identity']],
}: Parts = {}): Buffer {
  return message(
    ...(pieces ?? [...specialPieces, ...ordinaryPieces]).map((one): [number, Value] => [1, one]),
    [2, message(...trainer)],
    ...(normaliser ? [[3, message(...normaliser)] as [number, Value]] : []),
  );
}
