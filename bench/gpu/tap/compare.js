// The two comparisons of the stand-in for `tap`.

const primitive = (value) => value === null || !['object', 'function'].includes(typeof value);
const bytes = (value) => ArrayBuffer.isView(value) && !(value instanceof DataView);

/** Deep equality; primitives as by `==`, NaN equals NaN. */
export function same(a, b) {
  if (Object.is(a, b) || a == b) return true;
  if (primitive(a) || primitive(b)) return Number.isNaN(a) && Number.isNaN(b);
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof RegExp && b instanceof RegExp) return String(a) === String(b);
  if (bytes(a) || bytes(b) || Array.isArray(a) || Array.isArray(b)) {
    if (bytes(a) !== bytes(b) || Array.isArray(a) !== Array.isArray(b)) return false;
    if (a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
    return true;
  }
  if (a instanceof Map && b instanceof Map) return same([...a], [...b]);
  if (a instanceof Set && b instanceof Set) return same([...a], [...b]);
  if (a instanceof Error && b instanceof Error && a.message !== b.message) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
  );
}

/**
 * True if `value` matches `pattern`: expressions test text, non-empty strings are contained, constructors are the type,
 * of objects the pattern's keys count.
 */
export function matches(value, pattern) {
  if (pattern instanceof RegExp) return pattern.test(String(value));
  if (typeof pattern === 'string' && typeof value === 'string' && pattern !== '')
    return value.includes(pattern);
  if (typeof pattern === 'function') return isOf(value, pattern);
  if (primitive(pattern) || primitive(value)) return same(value, pattern);
  if (pattern instanceof Error) {
    return value instanceof Error && matches(value.message, pattern.message);
  }
  if (bytes(pattern) || pattern instanceof Map || pattern instanceof Set)
    return same(value, pattern);
  if (Array.isArray(pattern) && (!Array.isArray(value) || value.length < pattern.length))
    return false;
  return Object.keys(pattern).every((key) => key in value && matches(value[key], pattern[key]));
}

/** True if `value` is of a type: a constructor, of primitives too, or a name. */
export function isOf(value, type) {
  if (typeof type === 'string') {
    const name = type.toLowerCase();
    if (name === 'null') return value === null;
    if (name === 'array') return Array.isArray(value);
    return typeof value === name || value?.constructor?.name === type;
  }
  if (!primitive(value) && type !== Object) return value instanceof type || value === type;
  return value !== null && value !== undefined && Object(value) instanceof type;
}
