/**
 * The model's name in addresses. It may have slashes, as `org/model`: clients send them as they are (`tritonclient`)
 * or as %2F, and both reach the model.
 */

const longest = 256;

/** Why a model cannot be reached by such a name; undefined: it can, by every client. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (name.length > longest) return `has more than ${longest} characters`;
  if (/[\p{Cc}\p{Surrogate}?#%\\]/u.test(name)) {
    return 'has a control character or one of ? # % \\, which stand for something else in addresses';
  }
  const parts = name.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    return "has an empty part, or '.' or '..', between slashes";
  }
  if (parts.some((part) => part !== part.trim())) return 'begins or ends with a space';
  return undefined;
}

const prefix = '/v2/models/';

/** Addresses with the name as one segment, for those in which its slashes make several of it. */
export function addressRewriter(name: string): (url: string) => string {
  const parts = name.split('/');
  if (parts.length === 1) return (url) => url;
  return (url) => {
    if (!url.startsWith(prefix)) return url;
    const end = url.search(/[?#]|$/);
    const segments = url.slice(prefix.length, end).split('/');
    if (!parts.every((part, index) => decoded(segments[index]) === part)) return url;
    const rest = [encodeURIComponent(name), ...segments.slice(parts.length)];
    return prefix + rest.join('/') + url.slice(end);
  };
}

function decoded(segment: string | undefined): string | undefined {
  try {
    return segment === undefined ? undefined : decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
