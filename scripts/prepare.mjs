// npm runs this after `npm ci` in a clone and before `npm pack`: it builds if the development packages are installed.
function canBuild() {
  try {
    import.meta.resolve('esbuild')
    return true
  } catch {
    return false
  }
}

if (canBuild()) await import('./build.mjs')
// Not an error: dist/ may be copied here later, as in the last stage of an image.
else {
  console.error(
    'pgts: dist/ was not built (development packages are missing); run: npm ci && npm run build && npm prune --omit=dev',
  )
}
