# cmake -D FOLDER=src/ops/page -D OUT=status_parts.c -P embed.cmake
#
# The parts of the status page as arrays of C, with the hashes by which their policy names them: a string literal must
# not be longer than 4095 bytes.

set(text "#include \"ops/status_parts.h\"\n")
foreach(part html css js)
  file(READ ${FOLDER}/status.${part} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  file(SHA256 ${FOLDER}/status.${part} hash)
  string(REGEX REPLACE "(..)" "0x\\1," hash "${hash}")
  string(APPEND text
    "static const unsigned char ${part}[] = {${bytes}};\n"
    "const struct status_part status_part_${part} = {(const char *)${part}, sizeof ${part}, {${hash}}};\n")
endforeach()
file(WRITE ${OUT} "${text}")
