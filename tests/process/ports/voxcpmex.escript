#!/usr/bin/env escript
%% Drives the port `voxcpmex` as VoxCPMEx does: a raw stream port, a length that counts itself, msgpack.
%% Arguments: files for a WAV and for streamed audio (f32le), then the command of the port.
-mode(compile).

main([Wav, Streamed, Program | Args]) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, stream, binary, exit_status]),
    {Init, R1} = ask(Port, <<>>, #{<<"type">> => <<"init">>, <<"model">> => <<"openbmb/VoxCPM2">>}),
    #{<<"status">> := <<"ok">>, <<"device">> := <<"cpu">>, <<"sample_rate">> := 24000} = Init,
    {#{<<"message">> := <<"pong">>}, R2} = ask(Port, R1, #{<<"type">> => <<"ping">>}),
    {Said, R3} = ask(Port, R2, #{<<"type">> => <<"generate">>, <<"text">> => <<"Hello from Erlang.">>}),
    #{<<"status">> := <<"ok">>, <<"audio">> := Audio} = Said,
    ok = file:write_file(Wav, Audio),
    say(Port, #{<<"type">> => <<"generate_streaming">>, <<"text">> => <<"Hello from Erlang.">>}),
    {#{<<"type">> := <<"stream_start">>}, R4} = hear(Port, R3),
    {Chunks, R5} = until_end(Port, R4, []),
    ok = file:write_file(Streamed, Chunks),
    {#{<<"status">> := <<"error">>}, R6} = ask(Port, R5, #{<<"type">> => <<"generate">>}),
    {#{<<"status">> := <<"error">>}, R7} =
        ask(Port, R6, #{<<"type">> => <<"load_lora">>, <<"lora_path">> => <<"calm">>}),
    {#{<<"status">> := <<"ok">>}, R8} = ask(Port, R7, #{<<"type">> => <<"unload_lora">>}),
    {#{<<"status">> := <<"error">>}, <<>>} = ask(Port, R8, #{<<"type">> => <<"dance">>}),
    true = port_close(Port).

until_end(Port, Rest, Chunks) ->
    case hear(Port, Rest) of
        {#{<<"type">> := <<"stream_chunk">>, <<"chunk">> := Chunk, <<"index">> := Index}, More} ->
            Index = length(Chunks),
            until_end(Port, More, [Chunk | Chunks]);
        {#{<<"type">> := <<"stream_end">>, <<"total_chunks">> := Total}, More} ->
            Total = length(Chunks),
            {lists:reverse(Chunks), More}
    end.

ask(Port, Rest, Request) -> say(Port, Request), hear(Port, Rest).

say(Port, Request) ->
    Body = iolist_to_binary(pack(Request)),
    true = port_command(Port, [<<(byte_size(Body) + 4):32>>, Body]).

hear(_, <<Total:32, Body:(Total - 4)/binary, Rest/binary>>) ->
    {Message, <<>>} = unpack(Body),
    {Message, Rest};
hear(Port, Part) ->
    receive
        {Port, {data, Data}} -> hear(Port, <<Part/binary, Data/binary>>);
        {Port, {exit_status, Code}} -> halt(10 + Code)
    after 60000 -> halt(2)
    end.

%% As much of msgpack as this protocol uses.

pack(Map) when is_map(Map) ->
    [<<(16#80 + map_size(Map))>> | [[pack(Key), pack(Value)] || {Key, Value} <- maps:to_list(Map)]];
pack(Text) when is_binary(Text) -> [<<16#d9, (byte_size(Text))>>, Text].

unpack(<<8:4, Count:4, Rest/binary>>) -> pairs(Count, Rest, #{});
unpack(<<9:4, Count:4, Rest/binary>>) -> items(Count, Rest, []);
unpack(<<5:3, Size:5, Text:Size/binary, Rest/binary>>) -> {Text, Rest};
unpack(<<16#d9, Size, Text:Size/binary, Rest/binary>>) -> {Text, Rest};
unpack(<<16#c4, Size, Bytes:Size/binary, Rest/binary>>) -> {Bytes, Rest};
unpack(<<16#c5, Size:16, Bytes:Size/binary, Rest/binary>>) -> {Bytes, Rest};
unpack(<<16#c6, Size:32, Bytes:Size/binary, Rest/binary>>) -> {Bytes, Rest};
unpack(<<16#cb, Number/float, Rest/binary>>) -> {Number, Rest};
unpack(<<16#cc, Number, Rest/binary>>) -> {Number, Rest};
unpack(<<16#cd, Number:16, Rest/binary>>) -> {Number, Rest};
unpack(<<16#ce, Number:32, Rest/binary>>) -> {Number, Rest};
unpack(<<0:1, Number:7, Rest/binary>>) -> {Number, Rest}.

pairs(0, Rest, Map) -> {Map, Rest};
pairs(Count, Data, Map) ->
    {Key, Rest} = unpack(Data),
    {Value, More} = unpack(Rest),
    pairs(Count - 1, More, Map#{Key => Value}).

items(0, Rest, List) -> {lists:reverse(List), Rest};
items(Count, Data, List) ->
    {Item, Rest} = unpack(Data),
    items(Count - 1, Rest, [Item | List]).
