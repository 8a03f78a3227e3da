"""The 256 bytes as 256 printable characters: how GPT-2 writes a token, and where its `Ġ` comes from.

BPE's files list merges as text: one merge a line, its two parts separated by a space. Raw bytes would break such
files: some are spaces, some are line ends, and half of them are not ASCII. So GPT-2 gives each byte a visible
character of its own. The 188 bytes that Latin-1 prints as a visible character keep that character; the other 68, in
ascending order, become the characters from U+0100 on. The space, 0x20, is the 33rd of those 68 and so becomes U+0120,
`Ġ`; the newline, 0x0A, becomes U+010A, `Ċ`.

Source: `bytes_to_unicode` in OpenAI's GPT-2 release (https://github.com/openai/gpt-2, src/encoder.py).
"""

import codecs

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_INVISIBLE = tuple(byte for byte in range(256) if byte not in _VISIBLE)

#: The bytes in the alphabet's order, which is also the order of the token ids 0 to 255.
ALPHABET_ORDER: bytes = bytes(_VISIBLE + _INVISIBLE)

_MOVED = {byte: chr(0x100 + index) for index, byte in enumerate(_INVISIBLE)}
_CHARACTERS = "".join(_MOVED.get(byte, chr(byte)) for byte in range(256))
_BYTE_OF = {ord(character): byte for byte, character in enumerate(_CHARACTERS)}


def to_characters(data: bytes) -> str:
    """Write each byte as its character of the byte alphabet.

    >>> to_characters(b" meaning")
    'Ġmeaning'
    >>> to_characters("é\\n".encode())
    'Ã©Ċ'
    """
    return codecs.charmap_decode(data, "strict", _CHARACTERS)[0]


def to_bytes(characters: str) -> bytes:
    """Read characters of the byte alphabet back as the bytes they stand for.

    Raises:
        ValueError: a character is not one of the alphabet's 256.

    >>> to_bytes("Ġmeaning")
    b' meaning'
    """
    try:
        return bytes([_BYTE_OF[ord(character)] for character in characters])
    except KeyError as error:
        stranger = chr(error.args[0])
        raise ValueError(
            f"{characters!r} is not written in GPT-2's byte alphabet: {stranger!r} stands for no byte"
        ) from None
