#!/usr/bin/env escript
%% Drives the port `stt` as voxmlx does: {packet, 4}, JSON, audio paced as it is spoken.
%% Arguments: a file of raw PCM (f32le, 16 kHz, mono), then the command of the port.
%% Prints each partial text, and the final one.
-mode(compile).

-define(PIECE, 6400). % bytes: 100 ms

main([File, Program | Args]) ->
    {ok, Pcm} = file:read_file(File),
    Port = open_port({spawn_executable, Program}, [{args, Args}, {packet, 4}, binary, exit_status]),
    <<"ready">> = event(hear(Port)),
    say(Port, "{\"cmd\": \"start_session\", \"session_id\": \"erlang\"}"),
    <<"session_started">> = event(hear(Port)),
    speak(Port, Pcm),
    say(Port, "{\"cmd\": \"stop_session\", \"session_id\": \"erlang\"}"),
    until_final(Port),
    say(Port, "{\"cmd\": \"shutdown\", \"session_id\": \"_\"}"),
    <<"bye">> = event(hear(Port)),
    receive {Port, {exit_status, Code}} -> halt(Code) after 10000 -> halt(3) end.

speak(Port, <<Piece:?PIECE/binary, Rest/binary>>) -> chunk(Port, Piece), speak(Port, Rest);
speak(Port, Rest) -> chunk(Port, Rest).

chunk(Port, Pcm) ->
    timer:sleep(100), % a microphone's pace
    Encoded = base64:encode(Pcm),
    say(Port, ["{\"cmd\": \"audio_chunk\", \"session_id\": \"erlang\", \"pcm_b64\": \"", Encoded, "\"}"]).

until_final(Port) ->
    Message = hear(Port),
    Event = event(Message),
    io:format("~s ~s~n", [Event, field(<<"text">>, Message)]),
    case Event of
        <<"partial">> -> until_final(Port);
        <<"final">> -> ok
    end.

say(Port, Message) -> true = port_command(Port, Message).

hear(Port) ->
    receive
        {Port, {data, Message}} -> Message;
        {Port, {exit_status, Code}} -> halt(10 + Code)
    after 60000 -> halt(2)
    end.

event(Message) -> field(<<"event">>, Message).

field(Name, Message) ->
    {match, [Value]} = re:run(Message, [$", Name, "\":\"([^\"]*)\""], [{capture, all_but_first, binary}]),
    Value.
