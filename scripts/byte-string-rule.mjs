// ESLint rule for src: a ByteString (src/util/byte-string.ts) is not printed raw and keeps its type.
// docs/decisions/0032-byte-strings.md explains why.
import ts from 'typescript'

const messages = {
  raw: 'a byte string is not text: use bytesToText() for people, decodeUtf8() for programs, the tag bytes`...` for bytes',
  undeclared: 'a byte string is expected: declare this string as ByteString or convert it (textToBytes, asBytes)',
}

/** `ByteMethods & string`, or a union that contains it. */
function isBytes(type) {
  if (type.isUnion()) return type.types.some(isBytes)
  return type.isIntersection() && type.types.some((part) => part.symbol?.name === 'ByteMethods')
}

/** `string`, or a union that contains it; not a literal or a name with a brand of its own, which are ASCII. */
function isPlain(type) {
  if (type.isUnion()) return type.types.some(isPlain)
  return (type.flags & (ts.TypeFlags.String | ts.TypeFlags.TemplateLiteral)) !== 0
}

/** Expressions that can be the value of `node`. */
function valuesOf(node) {
  switch (node.type) {
    case 'ConditionalExpression':
      return [...valuesOf(node.consequent), ...valuesOf(node.alternate)]
    case 'LogicalExpression':
      return [...valuesOf(node.left), ...valuesOf(node.right)]
    case 'TSNonNullExpression':
      return valuesOf(node.expression)
    default:
      return [node]
  }
}

export const byteStrings = {
  meta: { type: 'problem', schema: [], messages },
  create(context) {
    const services = context.sourceCode.parserServices
    const checker = services.program.getTypeChecker()
    const typeOf = (node) => services.getTypeAtLocation(node)

    const refuseRaw = (node) => {
      if (node.type !== 'PrivateIdentifier' && isBytes(typeOf(node))) context.report({ node, messageId: 'raw' })
    }
    const compare = (outer) => {
      if (outer == null) return
      for (const node of valuesOf(outer)) {
        const expected = checker.getContextualType(services.esTreeNodeToTSNodeMap.get(node))
        if (expected === undefined) continue
        if (isBytes(expected) && !isPlain(expected) && isPlain(typeOf(node)))
          context.report({ node, messageId: 'undeclared' })
      }
    }
    /** Functions of Node and of JavaScript take names as they are. */
    const isOwn = (call) => {
      const declaration = checker.getResolvedSignature(services.esTreeNodeToTSNodeMap.get(call))?.declaration
      return declaration !== undefined && !declaration.getSourceFile().isDeclarationFile
    }
    const compareArguments = (call) => {
      if (isOwn(call)) call.arguments.forEach(compare)
    }
    return {
      ':not(TaggedTemplateExpression) > TemplateLiteral': (node) => node.expressions.forEach(refuseRaw),
      'BinaryExpression[operator="+"]': ({ left, right }) => [left, right].forEach(refuseRaw),
      'AssignmentExpression[operator="+="]': ({ right }) => refuseRaw(right),
      'CallExpression[callee.name="String"]': (node) => node.arguments.forEach(refuseRaw),
      'CallExpression[callee.property.name="join"]'(node) {
        const element = checker.getIndexTypeOfType(typeOf(node.callee.object), ts.IndexKind.Number)
        if (element !== undefined && isBytes(element)) context.report({ node, messageId: 'raw' })
      },
      CallExpression: compareArguments,
      NewExpression: compareArguments,
      'ObjectExpression > Property': (node) => compare(node.value),
      ReturnStatement: (node) => compare(node.argument),
      'ArrowFunctionExpression[expression=true]': (node) => compare(node.body),
      'AssignmentExpression[operator="="]': (node) => compare(node.right),
      VariableDeclarator: (node) => compare(node.init),
      'ArrayExpression > *': compare,
    }
  },
}
