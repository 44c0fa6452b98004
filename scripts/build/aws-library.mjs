// AWS's client as a bundle of its own (cli/aws.cjs), which all entries share: loading it takes longer than all else that a
// command on S3 does before its first request.

/** What the program uses of it. A name that is missing here fails the build, and so does one that the library has not. */
const USED = {
  '@aws-sdk/client-s3': [
    'AbortMultipartUploadCommand',
    'CompleteMultipartUploadCommand',
    'CreateMultipartUploadCommand',
    'DeleteObjectCommand',
    'DeleteObjectsCommand',
    'GetObjectCommand',
    'HeadObjectCommand',
    'ListMultipartUploadsCommand',
    'ListObjectVersionsCommand',
    'ListObjectsV2Command',
    'PutObjectCommand',
    'S3Client',
    'UploadPartCommand',
  ],
  '@smithy/node-http-handler': ['NodeHttpHandler'],
}

export const awsEntry = Object.entries(USED)
  .map(([library, names]) => `export { ${names.join(', ')} } from '${library}'\n`)
  .join('')

/** Imports of it become the bundle, which is as near to every directory of dist as to its own. */
export const awsLibrary = {
  name: 'aws-library',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(@aws-sdk\/client-s3|@smithy\/node-http-handler)$/ }, ({ path, importer }) =>
      importer.includes('/node_modules/') ? undefined : { path, namespace: 'aws-library' },
    )
    onResolve({ filter: /^\.\.\/cli\/aws\.cjs$/ }, ({ path }) => ({ path, external: true }))
    onLoad({ filter: /.*/, namespace: 'aws-library' }, ({ path }) => ({
      contents: `export const { ${USED[path].join(', ')} } = require('../cli/aws.cjs')`,
    }))
  },
}
