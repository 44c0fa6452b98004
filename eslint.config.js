import tseslint from 'typescript-eslint'
import { byteStrings } from './scripts/byte-string-rule.mjs'

// Dependencies point one way: cli -> commands -> core -> (format, storage, postgres, codec) -> util.
// docs/decisions/0001-layout.md explains why. Each row: a folder of src, what it must not import, and the rule in words.
const layers = [
  ['util', 'cli|commands|config|core|format|storage|postgres|codec|worker|remote', 'util imports nothing of ours'],
  ['format', 'cli|commands|config|core|storage|postgres|codec|worker|remote', 'format is pure: it knows util alone'],
  ['storage', 'cli|commands|config|core|format|postgres|codec|worker', 'storage knows util, and remote'],
  ['postgres', 'cli|commands|config|core|format|storage|codec|worker', 'postgres knows util, and remote'],
  ['codec', 'cli|commands|config|core|format|storage|postgres|worker|remote', 'codec stands alone on util'],
  ['remote', 'cli|commands|config|core|format|storage|postgres|codec|worker', 'remote stands alone on util'],
  [
    'config',
    'cli|commands|core|format|postgres|worker|codec/(?!registry\\.ts|levels\\.ts)|storage/(?!registry\\.ts)',
    'config reads util and the name tables',
  ],
  ['core', 'cli|commands|config|worker/(?!executor\\.ts)', 'the engine knows no options, no terminal and no threads'],
  ['commands', 'cli', 'commands return reports and print nothing'],
  ['worker', 'cli|commands|config|format|storage|postgres|codec', 'only the entry of a worker wires things'],
]

// A part that cannot be loaded is reported as such, never as a damaged file or a held lock.
const loadedBare = [
  {
    selector:
      ':not(CallExpression[callee.name="loadModule"] > ArrowFunctionExpression) > ImportExpression:not([source.value=/^node:/])',
    message: 'load it by loadModule(() => import(...)) of util/load-module.ts',
  },
  {
    selector: 'CallExpression[callee.name=/^(createRequire|require)$/]',
    message: 'load it by requireModule of util/load-module.ts',
  },
]

const oneWay = layers.map(([folder, forbidden, message]) => {
  // A whole folder, or all of it but the files that a row names.
  const folders = forbidden.replaceAll(/(?<=^|\|)\w+(?=\||$)/g, '$&/')
  const regex = `^(\\.\\./)+(${folders})`
  return {
    files: [`src/${folder}/**/*.ts`],
    ignores: ['src/worker/entry.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ regex, message }] }],
      'no-restricted-syntax': [
        'error',
        { selector: `ImportExpression[source.value=/${regex.replaceAll('/', '\\/')}/]`, message },
        ...loadedBare,
      ],
    },
  }
})

export default tseslint.config(
  { ignores: ['dist/', 'dist.*/', 'node_modules/', 'coverage/', 'test/vectors/', 'native/'] },
  ...tseslint.configs.recommended,
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/util/load-module.ts'],
    rules: { 'no-restricted-syntax': ['error', ...loadedBare] },
  },
  {
    // Short functions and files, comments not counted. The tables of options are lists.
    files: ['src/**/*.ts'],
    rules: {
      'max-params': ['error', { max: 5 }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
    },
  },
  { files: ['src/config/options/**'], rules: { 'max-lines': 'off' } },
  {
    files: ['src/**/*.ts'],
    plugins: { pgts: { rules: { 'byte-strings': byteStrings } } },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: { 'pgts/byte-strings': 'error' },
  },
  ...oneWay.map((layer) => ({ ...layer, ignores: [...layer.ignores, 'src/util/load-module.ts'] })),
  { files: ['scripts/**', 'test/**', 'src/cli/**'], rules: { 'no-console': 'off' } },
)
