// What npm runs after `npm ci` in a clone, and before `npm pack`: the build, where the packages for it are installed.
function canBuild() {
  try {
    import.meta.resolve('esbuild')
    return true
  } catch {
    return false
  }
}

if (canBuild()) await import('./build.mjs')
// No failure: dist/ may be copied here afterwards, as for the last stage of an image.
else {
  console.error(
    'pgts: dist/ was not built (development packages are missing); run: npm ci && npm run build && npm prune --omit=dev',
  )
}
