/** Import cycles, type-only imports included. The direction between folders is in eslint.config.js. */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      comment: 'Move what both files need, usually a type, into a file that imports neither.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'interface-without-implementations',
      severity: 'error',
      comment: 'storage/driver.ts describes drivers; storage/registry.ts is the list of them.',
      from: { path: '^src/storage/driver\\.ts$' },
      to: { path: '^src/storage/' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
}
