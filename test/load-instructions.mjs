/** Different instructions that the embedded model follows, with answers of one to ten tokens or so. */
export function instructions(count) {
  const languages = ['German', 'English', 'French', 'Spanish'];
  return Array.from({ length: count }, (_, index) => {
    const number = (index * 2654435761) % 10000;
    return index % 5 === 4
      ? `Is the number ${number} even? Yes or no?`
      : `Write the number ${number} in ${languages[index % 4]} words.`;
  });
}
