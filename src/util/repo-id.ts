/** How messages and options name a repository: `repo1`. */
export function repoId(key: number): string {
  return `repo${key}`
}
