<?php
// The same answers as `fcgi-realip whoami` gives, so that one test can ask both kinds of application:
//   ?json     {"params":{...},"body_length":N,"body_crc32":"xxxxxxxx"}
//   ?size=N   N bytes: lines of 15 digits that count from 0, cut off at N

if (isset($_GET['size'])) {
    $left = (int) $_GET['size'];
    header('Content-Type: application/octet-stream');
    header('Content-Length: ' . $left);
    for ($line = 0; $left > 0; $line += 4096) {
        $piece = '';
        for ($i = $line; $i < $line + 4096; $i++) {
            $piece .= sprintf("%015d\n", $i);
        }
        echo $left < strlen($piece) ? substr($piece, 0, $left) : $piece;
        $left -= strlen($piece);
    }
    return;
}

// In pieces: the body may be larger than the memory that a script gets.
$hash = hash_init('crc32b');
$length = 0;
$body = fopen('php://input', 'rb');
while (($piece = fread($body, 65536)) !== false && $piece !== '') {
    hash_update($hash, $piece);
    $length += strlen($piece);
}
header('Content-Type: application/json');
echo json_encode(
    ['params' => $_SERVER, 'body_length' => $length, 'body_crc32' => hash_final($hash)],
    JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES
);
